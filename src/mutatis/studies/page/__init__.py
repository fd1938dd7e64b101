"""What pages are made of: markup, charts, tables of colours, films in tabs; no study knows of another here."""
