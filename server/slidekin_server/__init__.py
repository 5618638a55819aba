"""slidekin's search service: index, ranking, storage and the gRPC interface over them."""
