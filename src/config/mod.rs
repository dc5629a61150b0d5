//! The whole configuration file as a struct of the modules own options.
