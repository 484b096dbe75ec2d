"""Captions to grounded captions: what web pages say of images, with boxes, ready to train on."""
