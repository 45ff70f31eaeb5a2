"""Frames between capture and delivery: who may enter, who leaves for a server, what becomes of the answers. All pure."""
