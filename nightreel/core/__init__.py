"""Ground for all rooms: settings, names of columns, errors, logs, files, locks and the feature catalogue."""
