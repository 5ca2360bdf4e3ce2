"""The interfaces to clock, stores and logs, one Protocol per file. One contract suite tests all back ends of a port."""
