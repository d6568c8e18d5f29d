"""What another policy would have got, from the rows that were drawn and what was made of them."""
