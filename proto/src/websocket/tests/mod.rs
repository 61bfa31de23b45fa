mod deflate;
mod frames;
mod handshakes;
mod model;
