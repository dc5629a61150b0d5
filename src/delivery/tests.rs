//! Two or more parts of the Node together.
