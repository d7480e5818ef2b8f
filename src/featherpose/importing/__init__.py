"""Other tools' labels: read whatever a tool writes, write a data folder and its config."""
