//! Workers on one table in memory.
