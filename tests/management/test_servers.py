"""The servers that every test uses."""

import os

import psycopg
import redis


def test_the_servers_of_the_tests_answer_and_are_not_the_developers() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        assert version is not None
        assert version[0].startswith("18")
        directory = connection.execute("SHOW data_directory").fetchone()
        assert directory is not None
        assert ".data" not in directory[0]
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        assert client.ping()
