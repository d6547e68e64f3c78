"""Tests of one package at a time: no process, no network, no clock."""
