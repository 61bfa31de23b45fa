mod base64;
mod frames;
mod values;
mod web;
