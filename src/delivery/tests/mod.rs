//! The Node as a whole: driven by hand, and by chance.

mod budget;
mod properties;
mod rig;
