//! Tests of the window over the simulated machine, with a provider of their own that is as simple as can be.
