//! What builders bring, and what becomes of it.
