"""A program that uses PyMySQL: text statements, several at once, an error."""

import sys

import pymysql
from pymysql.constants import CLIENT

connection = pymysql.connect(
    host="127.0.0.1", port=int(sys.argv[1]), user="shop", password="shop", database="shop",
    autocommit=True, client_flag=CLIENT.MULTI_STATEMENTS, ssl_disabled=True,
)
with connection.cursor() as cursor:
    cursor.execute("SELECT note FROM orders WHERE id = %s AND note <> 'secret'", (100001,))
    cursor.execute("UPDATE orders SET note = 'x' WHERE id = 1; SELECT REPEAT('x', 200000)")
    while cursor.nextset():
        pass
    try:
        cursor.execute("INSERT INTO orders VALUES (100001, 'again')")
    except pymysql.Error:
        pass
connection.close()
