"""What ``suite.speed`` and asv both measure: shapes, plain loops, contenders, interleaved timing."""
