//! Whole models through the public interface: real ones against reference answers, small ones made for a purpose.

mod protobuf;
mod real;
mod shared;
mod small;
