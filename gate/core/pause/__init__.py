"""The kill switch as values: pauses, whom they match, and how two views of the switch become one."""
