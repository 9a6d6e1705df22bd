//! Probes against a proc file system of our own making.
