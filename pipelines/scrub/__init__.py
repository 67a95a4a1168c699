"""Personal data: found (`detect`), replaced, alike on both sides of a pair (`step`), what was missed measured (`audit`)."""
