"""What pages are made of, whatever they are about: markup, charts, matrices, tabs, films."""
