"""Commands that speak to a served Gregale: `gregale workflow|execution|task|…`. A group of commands a file."""
