"""Tables of speed and memory; nothing in the product imports these."""
