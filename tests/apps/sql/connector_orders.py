"""A program that uses MySQL's own connector in C: prepared statements, on a connection that may be compressed."""

import sys

import mysql.connector

connection = mysql.connector.connect(
    host="127.0.0.1", port=int(sys.argv[1]), user="native", password="shop", database="shop",
    ssl_disabled=True, use_pure=False, compress=sys.argv[2] == "compressed",
)
prepared = connection.cursor(prepared=True)
for number in (100001, 100002):
    prepared.execute("SELECT note FROM orders WHERE id = %s", (number,))
    prepared.fetchall()
prepared.close()
cursor = connection.cursor()
cursor.execute("SELECT a.note FROM orders a, orders b WHERE a.id < 100003 AND b.id < 101000")
cursor.fetchall()
cursor.close()
connection.close()
