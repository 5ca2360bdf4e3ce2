"""The commands that streams adds to `upload-gate`: their options and their output, a file or a folder for each.

`upload-gate` finds them through the entry points `upload_gate.commands`. Other modules do the work.
"""
