"""shibafu: CNI plugins that give containers a network."""

__version__ = "0.1.0"
