"""Tables: rows, columns and notes, written as Markdown, CSV, LaTeX, JSON and HTML."""
