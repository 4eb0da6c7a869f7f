"""The paper's figures, small enough for two cores: `icm reproduce`."""
