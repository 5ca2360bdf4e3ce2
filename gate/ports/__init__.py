"""What the acts need of the world, one Protocol a file; one contract suite covers every back end of a port."""
