"""Reads a policy file into a `Policy`, or into a list of complaints with file, line, key and remedy.

It does not change the policy in force: the caller does, or keeps the last good one.
"""

from gate.policyfile.document import PolicyFile, check_policy, parse_policy, parse_policy_file
from gate.policyfile.files import MAX_FILE_BYTES, PRESETS, default_policy, load_policy, load_policy_file, policy_text
from gate.policyfile.packaged import packaged_config, packaged_file

__all__ = [
    "MAX_FILE_BYTES",
    "PRESETS",
    "PolicyFile",
    "check_policy",
    "default_policy",
    "load_policy",
    "load_policy_file",
    "packaged_config",
    "packaged_file",
    "parse_policy",
    "parse_policy_file",
    "policy_text",
]
