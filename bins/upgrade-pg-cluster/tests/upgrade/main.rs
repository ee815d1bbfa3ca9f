//! The program on real clusters: one test program, so that its tests share the processors.

mod full_disk;
mod interval;
mod kills;
mod lab;
mod matrix;
mod nineteen;
mod obstacles;
mod preflight;
mod rehearse;
mod service;
mod spelling;
