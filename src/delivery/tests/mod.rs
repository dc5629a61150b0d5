//! The Node as a whole: driven by hand, and by chance.

mod properties;
mod rig;
