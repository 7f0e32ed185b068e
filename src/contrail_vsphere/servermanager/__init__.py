"""Server Manager: puts the Contrail services on servers as containers, from image to running."""
