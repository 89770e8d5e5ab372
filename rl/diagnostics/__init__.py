"""Measurements that change nothing: batch -> metrics."""
