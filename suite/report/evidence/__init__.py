"""From records to groups of runs that may be compared, their statistics, and what was published."""
