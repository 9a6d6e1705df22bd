//! No text of a policy means more to systemd than the value that it was given for.

mod breakout;
mod reader;
mod roundtrip;
