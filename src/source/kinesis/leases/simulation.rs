//! A fleet
