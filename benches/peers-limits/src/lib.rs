//! Empty: the package contains only the benchmark.
