"""The kill switch as values: pauses, the uploads they match, and the merge of two views of the switch."""
