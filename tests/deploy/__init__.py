"""What lies in `.deploy`, held against the program that it deploys."""
