//! Pieces in, ranges out, counted to the byte.
