"""The colours of signed and of counted quantities, in every picture of a page."""

# Told apart by every kind of colour blindness, and seen on white and on black: zero is transparent.
NEGATIVE, POSITIVE, USED = (222, 101, 16), (38, 120, 208), (12, 148, 122)
