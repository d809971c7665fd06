"""The pages and the README's block: what stands where, and how it looks."""
