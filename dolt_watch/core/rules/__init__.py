"""The rule language: parse, check against the allow-list, compile to SQL, order the queue. Pure."""
