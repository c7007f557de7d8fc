"""How good an answer is: measures over arrays, and the tasks they are taken on."""
