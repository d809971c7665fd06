"""What a run will cost before it runs: sizes, times from records or counted, and what matched tracks need."""
