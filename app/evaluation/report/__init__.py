"""Reports of evaluations: one HTML file with its plots, or Markdown."""
