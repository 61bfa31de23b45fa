mod frames;
mod handshakes;
mod model;
