//! Issuance against real servers: Pebble and knot.

mod basics;
mod clock;
mod downloads;
mod faults_ca;
mod faults_disk;
mod faults_dns;
mod faults_kill;
mod features;
mod held_back;
mod kill;
mod lab;
mod providers;
mod reality;
mod stores;
mod zones;
