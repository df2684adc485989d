//! Nothing: the benchmark is all.
