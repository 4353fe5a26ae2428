//! One fetch of a key document over HTTP.
